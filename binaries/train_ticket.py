from tf_lottery.cli.train_ticket import main
raise SystemExit(main())
